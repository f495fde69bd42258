"""The formats of labeled text, one file each; see :mod:`affineur.transfer.formats.core.format`."""
