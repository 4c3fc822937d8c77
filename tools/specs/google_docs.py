"""Specs in Google Docs: the documents of a folder, and those that are named, exported as text.

Protocols: Drive API v3 (`files.list`, `files.get`, `files.export`), developers.google.com/drive; OAuth 2.0 for service
accounts (RFC 7523, with a JWT signed by RS256, RFC 7515), developers.google.com/identity/protocols/oauth2.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import BaseModel, Field, ValidationError

from tools.clock import Clock
from tools.specs.answers import Contents
from tools.specs.base import SpecNotFound, SpecSourceUnavailable
from tools.specs.fetching import Fetcher, bearer
from tools.specs.markdown import Document
from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.remote import all_of, check_count, named_documents, parsed, read_as

API = "https://www.googleapis.com"
TOKENS_HOST = "oauth2.googleapis.com"
TOKENS = f"https://{TOKENS_HOST}/token"
PAGES = "docs.google.com"
SCOPE = "https://www.googleapis.com/auth/drive.readonly"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DOCUMENT = "application/vnd.google-apps.document"
EXPORTED = "text/plain"
"""Front matter comes out of it as it was written; Markdown would come with its characters escaped."""
PER_PAGE = 100
MOST_PAGES = 10
_PATH = re.compile(r"/document/d/([A-Za-z0-9_-]{20,100})(?:/|$)")
_ID = re.compile(r"[A-Za-z0-9_-]{10,100}")


class _File(BaseModel):
    id: str
    name: str
    version: str = ""
    trashed: bool = False
    mime_type: str = Field(default=DOCUMENT, alias="mimeType")


class _Files(BaseModel):
    files: list[_File]
    following: str | None = Field(default=None, alias="nextPageToken")


class GoogleDocsLibrary:
    """The documents of a folder, and any that somebody names."""

    def __init__(self, options: SpecSourceOptions, fetcher: Fetcher) -> None:
        if options.folder is not None and _ID.fullmatch(options.folder) is None:
            raise BadSpecSource("Write the folder's id, which is the last part of its address.", field="folder")
        for page in options.pages:
            if (address := parsed(page)) is None or not self.has(address):
                raise BadSpecSource(
                    "A document is named by its address, such as https://docs.google.com/document/d/….", field="pages"
                )
        self._api = f"{options.url or API}/drive/v3/files"
        self._folder = options.folder
        self._named = options.pages
        self._fetcher = fetcher
        self._texts = Contents[tuple[str, str]]()

    @property
    def place(self) -> str:
        """Google Docs."""
        return "Google Docs"

    def has(self, address: httpx.URL) -> bool:
        """Whether it is a document's address."""
        return _named(address) is not None

    async def documents(self, _flag: str | None) -> Sequence[Document]:
        """Every document of the folder, and those that are named."""
        found = [] if self._folder is None else await all_of(map(self._document, await self._files(self._folder)))
        return found + await named_documents(self, self._named)

    async def document(self, address: httpx.URL) -> Document:
        """The document at that address."""
        file_id = _named(address)
        if file_id is None:
            raise SpecNotFound("Google Docs has no document at such an address.")
        query = {"fields": "id,name,version,trashed,mimeType", "supportsAllDrives": "true"}
        file, _ = await read_as(self._fetcher, _File, f"{self._api}/{file_id}", query=query)
        if file.trashed or file.mime_type != DOCUMENT:
            raise SpecNotFound("What is at that address is no document of Google Docs, or is in the trash.")
        return await self._document(file)

    async def check(self) -> None:
        """Return when documents can be read."""
        if self._folder is not None:
            query = {"fields": "id,name,mimeType", "supportsAllDrives": "true"}
            await read_as(self._fetcher, _File, f"{self._api}/{self._folder}", query=query)
        await all_of(self.document(httpx.URL(page)) for page in self._named)

    async def _files(self, folder: str) -> list[_File]:
        found, following = list[_File](), None
        for _ in range(MOST_PAGES):
            query = {
                "q": f"'{folder}' in parents and mimeType='{DOCUMENT}' and trashed=false",
                "fields": "nextPageToken,files(id,name,version)",
                "pageSize": str(PER_PAGE),
                "supportsAllDrives": "true",
                "includeItemsFromAllDrives": "true",
            } | ({} if following is None else {"pageToken": following})
            page, _headers = await read_as(self._fetcher, _Files, self._api, query=query)
            found += page.files
            following = page.following
            if following is None:
                return found
        check_count(PER_PAGE * MOST_PAGES + 1, "the folder of Google Docs")
        return found

    async def _document(self, file: _File) -> Document:
        """The document's text; of a version that was read before it is the same."""
        key = file.id, file.version
        content = self._texts.get(key) if file.version else None
        if content is None:
            fetched = await self._fetcher.get(
                f"{self._api}/{file.id}/export", accept=(EXPORTED,), query={"mimeType": EXPORTED}
            )
            content = fetched.body.decode("utf-8-sig", "replace").replace("\r\n", "\n").encode()
            if file.version:
                self._texts.keep(key, content)
        source = f"https://{PAGES}/document/d/{file.id}/edit"
        return Document(source, content=content, title=file.name, fenced=True)


class _Key(BaseModel):
    client_email: str
    private_key: str
    private_key_id: str | None = None


class _Token(BaseModel):
    access_token: str
    expires_in: int


class ServiceAccount:
    """Access tokens of a service account, each used until shortly before it expires. `file` is its key, in JSON."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._token: tuple[datetime, str] | None = None

    async def headers(self, fetcher: Fetcher) -> Mapping[str, str]:
        """What shows Google who asks. Raises SpecSourceUnavailable."""
        now = self._clock.now()
        if self._token is None or self._token[0] <= now:
            form = {"grant_type": GRANT, "assertion": self._assertion(now)}
            token, _ = await read_as(fetcher, _Token, TOKENS, form=form)
            self._token = now + timedelta(seconds=token.expires_in) - timedelta(minutes=2), token.access_token
        return bearer(self._token[1])

    def _assertion(self, now: datetime) -> str:
        unusable = SpecSourceUnavailable(
            f"The service_account_file {self._file} has no service account's key; download it anew from Google Cloud."
        )
        try:
            key = _Key.model_validate_json(self._file.read_bytes())
            private = serialization.load_pem_private_key(key.private_key.encode(), password=None)
        except (OSError, ValidationError, ValueError, TypeError):
            raise unusable from None
        if not isinstance(private, rsa.RSAPrivateKey):
            raise unusable
        issued = int(now.timestamp())
        claims = {"iss": key.client_email, "scope": SCOPE, "aud": TOKENS, "iat": issued, "exp": issued + 3600}
        header = {"alg": "RS256", "typ": "JWT"} | ({} if key.private_key_id is None else {"kid": key.private_key_id})
        signed = f"{_packed(header)}.{_packed(claims)}"
        signature = private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"


def _packed(claims: Mapping[str, object]) -> str:
    return _base64(json.dumps(claims, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _named(address: httpx.URL) -> str | None:
    found = _PATH.match(address.path) if address.host == PAGES and address.scheme == "https" else None
    return found[1] if found else None
