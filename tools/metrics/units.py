"""Amounts as people read them. Pure."""


def in_unit(value: float, unit: str) -> str:
    """To four digits, with the unit where there is one: `21.43 EUR`, `1,235 ms`, `0.0983`."""
    rounded = float(f"{value:.4g}")
    return f"{f'{value:,.0f}' if abs(rounded) >= 1000 else f'{rounded:g}'} {unit}".rstrip()
