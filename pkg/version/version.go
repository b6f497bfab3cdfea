// SPDX-License-Identifier: Apache-2.0

// Package version is what this build calls itself. The linker sets the
// variables (see the Makefile).
package version

var (
	Version = "unknown" // without a leading v
	Commit  = ""
	Built   = "" // RFC 3339; empty: not said
)
