import json
from pathlib import Path

from dev import kubeconfig
from dev.certificates import KeyPair


def test_names_the_server_the_authority_and_the_client() -> None:
    client = KeyPair(Path("/pki/admin.crt"), Path("/pki/admin.key"))
    config = json.loads(kubeconfig.render("https://10.0.0.1:6443", Path("/pki/ca.crt"), client))
    context = config["contexts"][0]
    assert config["current-context"] == context["name"]
    assert config["clusters"][0] == {
        "name": context["context"]["cluster"],
        "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority": "/pki/ca.crt"},
    }
    assert config["users"][0] == {
        "name": context["context"]["user"],
        "user": {"client-certificate": "/pki/admin.crt", "client-key": "/pki/admin.key"},
    }
