// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// podman's RUN --mount has words that BuildKit's parser does not know.

// relabels removes the SELinux words z, Z and relabel= from the --mount flags below node. They have
// no effect, as with the volumes of containers. It refuses podman's other words, with a hint.
func relabels(node *parser.Node) error {
	for _, n := range node.Children {
		for i, flag := range n.Flags {
			value, isMount := strings.CutPrefix(flag, "--mount=")
			if !isMount || !strings.EqualFold(n.Value, "run") {
				continue
			}
			r := csv.NewReader(strings.NewReader(value))
			r.LazyQuotes = true
			fields, err := r.Read()
			if err != nil {
				continue // the parser says so
			}
			kept := slices.DeleteFunc(slices.Clone(fields), isRelabel)
			for _, f := range kept {
				if err := podmanWord(f); err != nil {
					return parser.WithLocation(err, n.Location())
				}
			}
			if len(kept) < len(fields) {
				n.Flags[i] = "--mount=" + joinFields(kept)
			}
		}
	}
	return nil
}

func isRelabel(field string) bool {
	switch field {
	case "z", "Z", "relabel=shared", "relabel=private":
		return true
	}
	return false
}

// podmanWord is the refusal of a field that only podman knows.
func podmanWord(field string) error {
	key, value, _ := strings.Cut(field, "=")
	switch key {
	case "relabel":
		return fmt.Errorf("invalid relabel %q: it is shared or private", value)
	case "U", "chown":
		return errors.New("RUN --mount does not change owners: of a cache write uid= and gid=, of other files use COPY --chown")
	case "nosuid", "nodev", "noexec":
		return fmt.Errorf("RUN --mount does not take %s: omit it", key)
	case "tmpfs-size":
		return errors.New("RUN --mount has no tmpfs-size: write size=" + value)
	case "tmpfs-mode", "tmpcopyup", "notmpcopyup":
		return fmt.Errorf("RUN --mount has no %s: a tmpfs begins empty, with mode 1777", key)
	case "bind-propagation", "bind-nonrecursive", "shared", "rshared", "private", "rprivate", "slave", "rslave", "unbindable", "runbindable":
		return fmt.Errorf("RUN --mount has no %s: mounts of a step are private", key)
	}
	return nil
}

// joinFields is the line that has these fields.
func joinFields(fields []string) string {
	out := slices.Clone(fields)
	for i, f := range out {
		if strings.ContainsAny(f, ",\"\n") {
			out[i] = `"` + strings.ReplaceAll(f, `"`, `""`) + `"`
		}
	}
	return strings.Join(out, ",")
}

// parseTrigger reads the instructions of an ONBUILD trigger as those of a file are read.
func parseTrigger(text string) ([]*parser.Node, error) {
	res, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return res.AST.Children, relabels(res.AST)
}
