// SPDX-License-Identifier: Apache-2.0

package spec

import "strings"

// MergeEnv is the environment of a container's process: the image's, changed
// by the request.
func MergeEnv(image, request, unset []string) []string {
	out := []string{}
	at := map[string]int{}
	for _, list := range [][]string{image, request} {
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
	for _, k := range unset {
		if i, ok := at[k]; ok {
			out[i] = ""
		}
	}
	kept := out[:0]
	for _, e := range out {
		if e != "" {
			kept = append(kept, e)
		}
	}
	return kept
}
