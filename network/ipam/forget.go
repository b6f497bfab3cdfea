// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"os"
	"path/filepath"
)

// Forget removes the leases that the killed monitor of a container left on any
// network below stateDir. A lease of a dead monitor is free to be taken
// anyway; this is for whoever clears up after it, and knows that it is dead.
func Forget(stateDir, id string) {
	stale, err := filepath.Glob(filepath.Join(stateDir, "*", "*@"+id))
	if err != nil {
		return
	}
	for _, file := range stale {
		unlock, err := lockDir(filepath.Dir(file))
		if err != nil {
			continue
		}
		_ = os.Remove(file)
		unlock()
	}
}
