// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"sort"
	"strings"

	"github.com/proa-containers/proa/pkg/spec"
)

// pack stores a list of strings as one value: each followed by a NUL, which
// none of them can contain (arguments, paths, names). It is some fifty times
// faster to read than JSON, and a list of a thousand containers reads six each.
func pack(list []string) []byte {
	n := 0
	for _, s := range list {
		n += len(s) + 1
	}
	b := make([]byte, 0, n)
	for _, s := range list {
		b = append(b, strings.ReplaceAll(s, "\x00", "")...)
		b = append(b, 0)
	}
	return b
}

func unpack(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\x00"), "\x00")
}

// packMap stores keys and values in turn, sorted by key.
func packMap(m map[string]string) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	list := make([]string, 0, 2*len(m))
	for _, k := range keys {
		list = append(list, k, m[k])
	}
	return pack(list)
}

func unpackMap(s string) map[string]string {
	list := unpack(s)
	if len(list) < 2 {
		return nil
	}
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}

func packPorts(ports []spec.Port) ([]byte, error) {
	if len(ports) == 0 {
		return nil, nil
	}
	return json.Marshal(ports)
}

func unpackPorts(s string) (ports []spec.Port, err error) {
	if s == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(s), &ports); err != nil {
		return nil, &corruptError{"ports of a container: " + err.Error()}
	}
	return ports, nil
}
