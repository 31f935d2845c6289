"""Who may talk to whom, by the network policies: both ends must allow it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.unit.kubernetes.manifests import Build, Labels, Object, pod_labels, ports_of, selects

NAMESPACE = "platolm"
CLIENT = "client"
"""A pod that is not of the stack and carries the label that the policies name."""

Edge = tuple[str, str, int]
"""From, to, at which port."""


def pods(build: Build) -> dict[str, Labels]:
    """Labels of each workload's pods, and of a client's."""
    labels = {name: pod_labels(workload) for name, workload in build.workloads.items()}
    return {**labels, CLIENT: {"app.kubernetes.io/component": CLIENT}}


def rules(build: Build, name: str, direction: str) -> Iterator[Object]:
    """What the policies let into a pod (`Ingress`) or out of it (`Egress`).

    Raises:
        AssertionError: no policy is about that direction, so that everything is allowed.
    """
    labels = pods(build)[name]
    mine = [one["spec"] for one in build.of_kind("NetworkPolicy") if selects(one["spec"]["podSelector"], labels)]
    assert any(direction in policy["policyTypes"] for policy in mine), f"{name} is open"
    for policy in mine:
        assert direction in policy["policyTypes"] or direction.lower() not in policy, "it would not count"
        yield from policy.get(direction.lower(), [])


def one_way(build: Build, direction: str) -> set[Edge]:
    """Edges within the namespace, as one of their ends allows them."""
    found = set()
    for name in pods(build):
        for rule in rules(build, name, direction):
            peers = rule["from" if direction == "Ingress" else "to"]
            inside = [peer["podSelector"] for peer in peers if set(peer) == {"podSelector"}]
            others = [
                other for other, labels in pods(build).items() if any(selects(selector, labels) for selector in inside)
            ]
            ends = [(other, name) if direction == "Ingress" else (name, other) for other in others]
            found |= {(source, target, port["port"]) for source, target in ends for port in rule["ports"]}
    return found


def edges(build: Build) -> set[Edge]:
    """Those that both ends allow, at ports that are open."""
    both = one_way(build, "Ingress") & one_way(build, "Egress")
    open_ports = {name: set(ports_of(container).values()) for name, container in build.containers.items()}
    return {edge for edge in both if edge[2] in open_ports.get(edge[1], set())}


def ways_out(build: Build) -> set[tuple[str, int]]:
    """Who may reach addresses outside of the cluster, at which ports; the node's own cache of names left out."""
    return {
        (name, port["port"])
        for name in pods(build)
        for rule in rules(build, name, "Egress")
        for port in rule["ports"]
        if any("ipBlock" in peer and peer["ipBlock"]["cidr"] != "169.254.0.0/16" for peer in rule["to"])
    }


def who_asks_names(build: Build) -> set[str]:
    """Those that may ask the cluster's name server, over UDP and TCP."""
    found = set()
    for name in pods(build):
        for rule in rules(build, name, "Egress"):
            if {"kube-dns"} & {
                peer.get("podSelector", {}).get("matchLabels", {}).get("k8s-app") for peer in rule["to"]
            }:
                assert rule["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
                found.add(name)
    return found


def let_in(build: Build) -> set[tuple[str, str, int]]:
    """From other namespaces: theirs, the pod, its port."""
    return {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], name, port["port"])
        for name, container in build.containers.items()
        for rule in rules(build, name, "Ingress")
        for peer in rule["from"]
        if "namespaceSelector" in peer
        for port in rule["ports"]
        if port["port"] in ports_of(container).values()
    }
