from bench.gateway import peers


def test_a_peer_has_a_folder_for_every_version(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = peers.Peer("router", "1.0"), peers.Peer("router", "1.1")
    assert one.bin != other.bin
    assert one.bin.is_relative_to(tmp_path)


def test_a_peer_is_installed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = []

    def run(argv):
        ran.append(argv)
        peer.bin.mkdir(parents=True, exist_ok=True)

    peer = peers.Peer("router", "1.0", "[fast]")
    monkeypatch.setattr(peers.progress, "run", run)
    assert [peer.install(), peer.install()] == ["1.0", "1.0"]
    assert [argv[-1] for argv in ran] == [peer.bin.parent, "router[fast]==1.0"]


def test_an_installation_that_broke_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = []
    peer = peers.Peer("router", "1.0")
    peer.bin.mkdir(parents=True)
    monkeypatch.setattr(peers.progress, "run", ran.append)
    peer.install()
    assert len(ran) == 2
