// SPDX-License-Identifier: Apache-2.0

package supervisor

import "strings"

// defaultPath is Docker's PATH for images that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environ adds what Docker adds where env does not say otherwise.
func environ(env []string, home, hostname string, tty bool) []string {
	has := make(map[string]bool, len(env))
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		has[k] = true
	}
	out := make([]string, 0, len(env)+4)
	add := func(k, v string) {
		if !has[k] && v != "" {
			out = append(out, k+"="+v)
		}
	}
	add("PATH", defaultPath)
	add("HOSTNAME", hostname)
	if tty {
		add("TERM", "xterm")
	}
	out = append(out, env...)
	add("HOME", home)
	return out
}
