"""What a command shows, as values: pure, from what was read to blocks and to a document for programs."""
