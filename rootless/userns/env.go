// SPDX-License-Identifier: Apache-2.0

package userns

// InsideEnv is env as Reexec hands it to the copy of this program, for callers
// that use Start themselves because they need more descriptors.
func InsideEnv(env []string) ([]string, error) { return insideEnv(env) }
