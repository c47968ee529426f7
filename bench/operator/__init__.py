"""How much control plane a thousand ModelDeployments cost, and who spends it.

A real etcd and kube-apiserver in a network namespace of their own. `bare` stops there; `full` adds
the controller manager, the scheduler and KWOK's nodes with cards, so that pods come up.
"""
