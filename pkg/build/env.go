// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"
	"strings"
)

// envList is an ordered KEY=VALUE list: setting an existing key keeps its
// place, as in an image configuration.
type envList []string

func (e envList) index(key string) int {
	return slices.IndexFunc(e, func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		return k == key
	})
}

// Get implements shell.EnvGetter.
func (e envList) Get(key string) (string, bool) {
	if i := e.index(key); i >= 0 {
		_, v, _ := strings.Cut(e[i], "=")
		return v, true
	}
	return "", false
}

// Keys implements shell.EnvGetter.
func (e envList) Keys() []string {
	keys := make([]string, len(e))
	for i, kv := range e {
		keys[i], _, _ = strings.Cut(kv, "=")
	}
	return keys
}

// with returns a list with key set; e itself is not changed, since stages that
// start from one another share it.
func (e envList) with(key, value string) envList {
	out := slices.Clone(e)
	if i := out.index(key); i >= 0 {
		out[i] = key + "=" + value
		return out
	}
	return append(out, key+"="+value)
}

// over returns e with every entry of top set on it.
func (e envList) over(top envList) envList {
	out := e
	for _, kv := range top {
		k, v, _ := strings.Cut(kv, "=")
		out = out.with(k, v)
	}
	return out
}
