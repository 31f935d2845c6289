"""What stands in docs/ without having been written there: generated pages, and what the site needs beside them."""
