// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strings"
)

// MergeEnv is the environment of a container's process: the image's, changed
// by the request. A bare NAME in the request takes the image's variable away.
func MergeEnv(image, request, unset []string) []string {
	out := JoinEnv(image, request)
	kept := out[:0]
	for _, e := range out {
		if k, _, ok := strings.Cut(e, "="); ok && !slices.Contains(unset, k) {
			kept = append(kept, e)
		}
	}
	return kept
}

// JoinEnv makes one list of several, in which each variable has its last value; a
// bare NAME remains one.
func JoinEnv(lists ...[]string) []string {
	out := []string{}
	at := map[string]int{}
	for _, list := range lists {
		for _, e := range list {
			k, _, _ := strings.Cut(e, "=")
			if i, ok := at[k]; ok {
				out[i] = e
				continue
			}
			at[k] = len(out)
			out = append(out, e)
		}
	}
	return out
}
