// SPDX-License-Identifier: Apache-2.0

package storage

// Normalize makes a complete name of what the user wrote: alpine becomes
// docker.io/library/alpine:latest. A digest is kept, without a tag then.
func Normalize(name string) (string, error) { return "", todo() }

// Familiar shortens a complete name as Docker shows it: alpine:latest.
func Familiar(name string) string { return "" }
