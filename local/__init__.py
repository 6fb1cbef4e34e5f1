"""The whole of Syncpoint on one machine, from the code and the template that ship."""
