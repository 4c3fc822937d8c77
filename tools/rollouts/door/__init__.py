"""What the door does, `tools.rollouts.service`: a module for each kind of request, over a `Context`.

A function here is the door's method of that name, where its errors are written; what it does within a transaction is
in the modules beside this folder.
"""
