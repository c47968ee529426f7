from dev import network

MASQUERADE = (
    "POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -m comment --comment berth-dev -j MASQUERADE"
)
SAVED = f"""\
*nat
:PREROUTING ACCEPT [0:0]
:OTHERS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -p tcp -j OTHERS
-A {MASQUERADE}
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A KUBE-SERVICES -j KUBE-MARK-MASQ
-A OTHERS -m comment --comment "not -j KUBERNETES" -j ACCEPT
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
"""


def test_only_the_clusters_rules_and_chains_are_removed() -> None:
    assert network.removal(SAVED) == {
        "nat": [
            '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
            f"-D {MASQUERADE}",
            "-F KUBE-SERVICES",
            "-F KUBE-MARK-MASQ",
            "-X KUBE-SERVICES",
            "-X KUBE-MARK-MASQ",
        ]
    }


def test_a_machine_without_the_cluster_has_nothing_to_remove() -> None:
    assert network.removal("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n") == {}
