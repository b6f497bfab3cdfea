// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"slices"
	"strings"
)

// Env is an ordered KEY=VALUE list: setting an existing key keeps its
// place, as in an image configuration.
type Env []string

func (e Env) index(key string) int {
	return slices.IndexFunc(e, func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		return k == key
	})
}

// Get implements shell.EnvGetter.
func (e Env) Get(key string) (string, bool) {
	if i := e.index(key); i >= 0 {
		_, v, _ := strings.Cut(e[i], "=")
		return v, true
	}
	return "", false
}

// Keys implements shell.EnvGetter.
func (e Env) Keys() []string {
	keys := make([]string, len(e))
	for i, kv := range e {
		keys[i], _, _ = strings.Cut(kv, "=")
	}
	return keys
}

// With returns a list with key set; e itself is not changed, since stages that
// start from one another share it.
func (e Env) With(key, value string) Env {
	out := slices.Clone(e)
	if i := out.index(key); i >= 0 {
		out[i] = key + "=" + value
		return out
	}
	return append(out, key+"="+value)
}

// Over returns e with every entry of top set on it.
func (e Env) Over(top Env) Env {
	out := e
	for _, kv := range top {
		k, v, _ := strings.Cut(kv, "=")
		out = out.With(k, v)
	}
	return out
}
