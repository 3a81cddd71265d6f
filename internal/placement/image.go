package placement

import "strings"

const digestPrefix = "sha256:"

// hasImage reports whether p is an image of the node: its ID, with or without
// the algorithm, or from 12 digits on; a reference; or the repository of one,
// which then means any tag.
func hasImage(n *Node, p *pattern) bool {
	for _, image := range n.Images {
		if image.hasID(p) {
			return true
		}
		for _, ref := range image.Refs {
			// What does not start the reference cannot start its repository.
			if strings.HasPrefix(ref, p.head) && (p.match(ref) || p.match(repository(ref))) {
				return true
			}
		}
	}
	return false
}

func (i *Image) hasID(p *pattern) bool {
	hex := strings.TrimPrefix(i.ID, digestPrefix)
	if p.literal() {
		return isID(hex, strings.TrimPrefix(p.value, digestPrefix))
	}
	return i.ID != "" && (p.match(i.ID) || p.match(hex))
}

// repository is ref without tag and digest. A colon before a slash stands in
// front of a registry's port, not of a tag.
func repository(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon]
	}
	return ref
}

// familiar shortens ref as engines do when they list images: Docker Hub and
// its library go without saying, and a digest makes the tag beside it void.
func familiar(ref string) string {
	name, ok := strings.CutPrefix(ref, "docker.io/")
	if !ok {
		name = strings.TrimPrefix(ref, "index.docker.io/")
	}
	if short, official := strings.CutPrefix(name, "library/"); official && !strings.Contains(short, "/") {
		name = short
	}
	if repo, digest, pinned := strings.Cut(name, "@"); pinned && repository(repo) != repo {
		name = repository(repo) + "@" + digest
	}
	return name
}
