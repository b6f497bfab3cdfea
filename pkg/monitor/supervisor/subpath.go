// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"strconv"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
)

// subpath is the directory in a volume that a mount shall show.
type subpath struct {
	target string
	was    os.FileInfo
}

// findSubpaths looks up what the mounts of volumes' parts mean, links resolved
// inside the volume. libcontainer mounts by path, and another container that
// has the volume can exchange a directory for a link at any moment: whether it
// was this that got mounted is checked afterwards.
func findSubpaths(volumes []monitor.VolumeMount) (found []subpath, err error) {
	for _, v := range volumes {
		if v.Subpath == "" {
			continue
		}
		h, err := pathrs.OpenInRoot(v.HostPath, v.Subpath)
		if err != nil {
			return nil, errs.Wrap(err, "open volume subpath", v.Subpath)
		}
		st, err := h.Stat()
		h.Close()
		if err != nil {
			return nil, errs.Wrap(err, "open volume subpath", v.Subpath)
		}
		found = append(found, subpath{v.Target, st})
	}
	return found, nil
}

// checkSubpaths compares them with what the created container has, before
// anything runs in it.
func checkSubpaths(pid int, want []subpath) error {
	if len(want) == 0 {
		return nil
	}
	root, err := openRoot("/proc/" + strconv.Itoa(pid) + "/root")
	if err != nil {
		return errs.Wrap(err, "open the container's root", "")
	}
	defer root.Close()
	for _, w := range want {
		h, err := pathrs.OpenatInRoot(root, w.target)
		if err != nil {
			return errs.Wrap(err, "open", w.target)
		}
		st, err := h.Stat()
		h.Close()
		if err != nil {
			return errs.Wrap(err, "open", w.target)
		}
		if !os.SameFile(w.was, st) {
			return errs.New(errs.State, "the volume subpath at %s was exchanged while it was being mounted", w.target)
		}
	}
	return nil
}
