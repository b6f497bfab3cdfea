// SPDX-License-Identifier: Apache-2.0

package libpod

import "github.com/proa-containers/proa/storage"

// NormalizeName makes a complete name of what the user wrote: alpine becomes
// docker.io/library/alpine:latest.
func NormalizeName(name string) (string, error) { return storage.Normalize(name) }
