"""Values that cross packages. Standard library only; no behaviour beyond what the values say of themselves."""
