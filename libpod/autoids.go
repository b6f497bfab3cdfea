// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/rootless/userns"
)

// autoAnnotation holds the first id of the slice that --userns=auto reserved:
// files in the writable layer belong to its ids, so it stays with the
// container. It is part of the specification because nothing else needs it.
const autoAnnotation = "proa.userns.auto"

// wantsAutoIDs reports whether a container needs ids that no other one has.
func wantsAutoIDs(c *spec.Container) bool {
	name, _, _ := strings.Cut(c.Security.Userns, ":")
	return name == "auto"
}

// rootAutoEnd is where slices for real root end: far from what hosts use.
const rootAutoEnd = 2 << 30

// reserveAutoIDs chooses a slice, from the end of the user's range: ordinary
// containers use the beginning. The caller holds the images' lock alone, so
// that two of them cannot choose the same.
func (e *Engine) reserveAutoIDs(db *state.DB, c *spec.Container) error {
	if !wantsAutoIDs(c) {
		return nil
	}
	end := uint32(rootAutoEnd)
	if os.Geteuid() != 0 || userns.Inside() {
		m, _, err := userns.LookupMapping()
		if err != nil {
			return err
		}
		end = 0
		for _, r := range m.UIDs {
			end = max(end, r.Inside+r.Count)
		}
	}
	specs, err := db.SpecsWith(autoAnnotation)
	if err != nil {
		return err
	}
	used := map[uint32]bool{}
	for _, text := range specs {
		var other spec.Container
		if json.Unmarshal(text, &other) == nil {
			used[autoStart(&other)] = true
		}
	}
	start, ok := freeSlice(end, used)
	if !ok {
		return errs.WithHint(errs.New(errs.Unsupported, "--userns=auto: no %d ids are free", ocispec.AutoSize),
			"remove containers that use --userns=auto, or get a larger range in /etc/subuid and /etc/subgid")
	}
	// The caller's map may be shared.
	notes := map[string]string{autoAnnotation: strconv.FormatUint(uint64(start), 10)}
	for k, v := range c.Annotations {
		if k != autoAnnotation {
			notes[k] = v
		}
	}
	c.Annotations = notes
	return nil
}

// freeSlice is the last slice below end that is not used.
func freeSlice(end uint32, used map[uint32]bool) (uint32, bool) {
	for start := int64(end) - ocispec.AutoSize; start > 0; start -= ocispec.AutoSize {
		if !used[uint32(start)] {
			return uint32(start), true
		}
	}
	return 0, false
}

// autoStart is the slice that was reserved, 0: none.
func autoStart(c *spec.Container) uint32 {
	n, _ := strconv.ParseUint(c.Annotations[autoAnnotation], 10, 32)
	return uint32(n)
}
