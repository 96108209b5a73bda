"""The dashboard: one page without outside requests, and the figures that it shows."""
