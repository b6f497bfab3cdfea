// SPDX-License-Identifier: Apache-2.0

package dockerdoc

import "github.com/proa-containers/proa/libpod"

type mountDocument struct {
	ID           string   `json:"id"`
	Repositories []string `json:"Repositories"`
	Mountpoint   string   `json:"mountpoint"`
}

// Mounts is the document of mount and of image mount.
func Mounts(list []libpod.Mounted) any {
	docs := []mountDocument{}
	for _, m := range list {
		docs = append(docs, mountDocument{m.ID, m.Names, m.Path})
	}
	return docs
}
