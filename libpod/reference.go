// SPDX-License-Identifier: Apache-2.0

package libpod

import "github.com/proa-containers/proa/storage/imagename"

// NormalizeName makes a complete name of what the user wrote: alpine becomes
// docker.io/library/alpine:latest.
func NormalizeName(name string) (string, error) { return imagename.Normalize(name) }

// SplitName is the repository, familiar, and the tag of a complete name.
func SplitName(name string) (repository, tag string) { return imagename.Split(name) }
