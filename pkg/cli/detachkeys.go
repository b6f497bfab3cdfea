// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/pkg/term"
)

// detachFlag is --detach-keys of the commands that one can leave by keys.
type detachFlag struct {
	keys string
	set  *flagSet
}

func (d *detachFlag) register(f *flagSet) {
	d.set = f
	f.text(&d.keys, "detach-keys", "", `Override the key sequence for detaching a container; "" for none`)
}

// value is the flag where it was given, also where that is empty: podman's way
// to have no such keys. Otherwise it is what Docker's configuration file says.
func (d *detachFlag) value(a *app) string {
	if d.set.changed("detach-keys") {
		return d.keys
	}
	if keys := configuredDetachKeys(a); keys != "" {
		return keys
	}
	return term.DefaultDetachKeys
}

// configuredDetachKeys is detachKeys of ~/.docker/config.json. A file that
// cannot be read is no reason not to run a container.
func configuredDetachKeys(a *app) string {
	dir, _ := a.std.Lookup("DOCKER_CONFIG")
	if dir == "" {
		home, _ := a.std.Lookup("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return ""
	}
	var config struct{ DetachKeys string }
	_ = json.Unmarshal(text, &config)
	return config.DetachKeys
}
