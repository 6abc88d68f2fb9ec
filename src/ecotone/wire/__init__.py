"""The OpenAI API as bytes, without I/O: requests in, answers and errors out."""
