"""What a source's tables have beside columns and rows, made on the target as well where the file asks for it."""
