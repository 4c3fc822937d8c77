"""Flag services that are files: how such a file is read and replaced, edited in place, and what its entries serve."""
