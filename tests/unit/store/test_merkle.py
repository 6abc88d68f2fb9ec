"""The tree and its proofs, against the RFC's recursive definition and its known hashes."""

from __future__ import annotations

import pytest
from tests.unit.store.made import root_of

from ecotone.store import merkle

# Source: the vectors that implementations of Certificate Transparency share (trillian, sigsum).
LEAVES = [bytes.fromhex(item) for item in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
}


def test_known_roots() -> None:
    tree = merkle.Tree()
    assert tree.root() == merkle.EMPTY
    for count, text in enumerate(LEAVES, 1):
        tree.append(text)
        assert tree.size == count
        if count in ROOTS:
            assert tree.root().hex() == ROOTS[count]


def test_it_grows_to_the_roots_of_the_definition_and_goes_on_from_its_peaks() -> None:
    lines = [b"%d\n" % number for number in range(70)]
    tree = merkle.Tree()
    for count, line in enumerate(lines, 1):
        tree.append(line[:-1])
        assert tree.root() == root_of(lines[:count])
        tree = merkle.Tree(tree.size, tree.peaks)
    with pytest.raises(AssertionError):
        merkle.Tree(3, tree.peaks[:1])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 21])
def test_every_leaf_is_proved_and_no_other(size: int) -> None:
    leaves = [merkle.leaf(b"%d" % number) for number in range(size)]
    whole = merkle.Tree()
    for node in leaves:
        whole.push(node)
    for index in range(size):
        before = merkle.Tree()
        for node in leaves[:index]:
            before.push(node)
        path = merkle.Path(before, size)
        for node in [*leaves[index + 1 :], merkle.leaf(b"behind the end")]:
            path.push(node)
        hashes = path.hashes()
        assert merkle.root_by(leaves[index], index, size, hashes) == whole.root()
        assert merkle.root_by(leaves[index - 1], index, size, hashes) != whole.root() or size == 1
        assert merkle.root_by(leaves[index], index, size, [*hashes, b"x" * 32]) is None
        if size > 1:
            other = (index + 1) % size
            assert merkle.root_by(leaves[index], other, size, hashes) != whole.root()
    assert merkle.root_by(leaves[0], size, size, []) is None
