// SPDX-License-Identifier: Apache-2.0

package process

import "strings"

// defaultPath is Docker's PATH for images that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environ adds what Docker adds where env does not say otherwise.
func Environ(env []string, home, hostname string, tty bool) []string {
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

// Getenv is the value of key, as the last entry says; "" where there is none.
func Getenv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(env[i], "="); ok && k == key {
			return v
		}
	}
	return ""
}
