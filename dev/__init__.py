"""What a developer runs and no user ships: a one-node cluster, the images, the demo.

Standard library only, because `python3 -m dev up` is the first command on a fresh machine and no
virtual environment exists yet.
"""
