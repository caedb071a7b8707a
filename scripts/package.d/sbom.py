"""Prints what is built into the program, as a CycloneDX document: each crate, its version, licence and digest, and which
needs which. Which those are is what `cargo tree` says, since to `cargo metadata` what only the tests switch on is in it too;
the rest is read off `cargo metadata` and Cargo.lock. What is for tests or for building alone is not in it."""

import json
import os
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone

host = next(
    line.removeprefix("host: ")
    for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines()
    if line.startswith("host: ")
)
whole = json.loads(
    subprocess.check_output(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
    )
)
with open("Cargo.lock", "rb") as file:
    digests = {
        (package["name"], package["version"]): package.get("checksum")
        for package in tomllib.load(file)["package"]
    }
packages = {package["id"]: package for package in whole["packages"]}
root = whole["resolve"]["root"]
# Lines like `name v1.2.3 (proc-macro)`.
listed = {
    (words[0], words[1].removeprefix("v"))
    for line in subprocess.check_output(
        ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target", host],
        text=True,
    ).splitlines()
    if (words := line.split())
}
built_in = {
    package["id"]: package
    for package in whole["packages"]
    if (package["name"], package["version"]) in listed
}
needs = {
    node["id"]: sorted(
        dependency["pkg"]
        for dependency in node["deps"]
        # The kind of what is for the program itself is null.
        if dependency["pkg"] in built_in and any(kind["kind"] is None for kind in dependency["dep_kinds"])
    )
    for node in whole["resolve"]["nodes"]
}


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind):
    digest = digests[package["name"], package["version"]]
    # Some write `A/B` for `A OR B`, which is no expression of SPDX any more.
    licence = (package["license"] or "").replace("/", " OR ")
    if not licence:
        sys.exit(f"sbom: {package['name']} says no licence")
    return {
        "type": kind,
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "licenses": [{"expression": licence}],
        **({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}),
    }


rest = sorted((package for id, package in built_in.items() if id != root), key=purl)
date = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
document = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, " ".join(map(purl, rest)) + str(date)).urn,
    "version": 1,
    "metadata": {
        "timestamp": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "component": component(built_in[root], "application"),
    },
    "components": [component(package, "library") for package in rest],
    "dependencies": [
        {"ref": purl(built_in[id]), "dependsOn": sorted(purl(built_in[need]) for need in needs[id])}
        for id in sorted(built_in, key=lambda id: purl(built_in[id]))
    ],
}
json.dump(document, sys.stdout, indent=1, sort_keys=True)
print()
