"""One table at a time: copied beside the stream, led up to it, joined to it. The other tables never wait."""
