"""What the notebooks share: data, models, training, claims, plotting."""

# Raised when notebooks come to need what older helpers lack: tests/test_links.py knows.
EDITION = 1
