"""What featkit claims about time and memory, each claim measured by a script of its own."""
