# The answer of `cargo metadata` as a CycloneDX bill of materials: the crates that are in the program, and which uses which.
# --arg root NAME  the package of the program      --arg time TIME
# --argjson sums   the checksums of the lock file, by name and version
# --argjson pages  the libraries in the pages of the console: name, version and licence of each
def purl: "pkg:cargo/\(.name)@\(.version)";
def licence:
    if .license then [{expression: (.license | gsub("/"; " OR "))}]
    elif .license_file then [{license: {name: "see \(.license_file)"}}]
    else [] end;
(.packages | map({key: .id, value: .}) | from_entries) as $packages
| (.resolve.nodes | map({
    key: .id,
    # what only tests or builds of the code need is not in the program
    value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]
  }) | from_entries) as $uses
| (.packages[] | select(.name == $root and .source == null) | .id) as $program
| def reach($known; $next): if ($next | length) == 0 then $known
    else ($known + $next) as $all | reach($all; [$next[] | $uses[.][]] | unique - $all) end;
  reach([]; [$program]) as $reached
| ($packages[$program]) as $main
| {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
        timestamp: $time,
        component: {type: "application", "bom-ref": ($main | purl), name: $main.name, version: $main.version,
                    licenses: ($main | licence), purl: ($main | purl)}
    },
    components: ([$pages[] | "pkg:npm/\(.name)@\(.version)" as $purl
        | {type: "library", "bom-ref": $purl, name, version, licenses: [{license: {id: .licence}}], purl: $purl}]
        + [$reached[] | select(. != $program) | $packages[.] | {
        type: "library", "bom-ref": purl, name, version, description, licenses: licence, purl: purl,
        hashes: ([$sums["\(.name) \(.version)"] // empty | {alg: "SHA-256", content: .}]),
        externalReferences: [.repository // empty | {type: "vcs", url: .}]
    } | with_entries(select(.value != null and .value != []))]) | sort_by(.purl),
    dependencies: [$reached[] | {ref: ($packages[.] | purl), dependsOn: [$uses[.][] | $packages[.] | purl] | sort}]
        | sort_by(.ref)
  }
