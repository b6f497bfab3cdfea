// SPDX-License-Identifier: Apache-2.0

package spec

import "strings"

// ShortID is the first twelve digits of an id.
func ShortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
