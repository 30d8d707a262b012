"""Loaders are not used."""
