"""The product as people meet it: real processes, real protocols."""
