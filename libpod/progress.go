// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"io"

	"github.com/proa-containers/proa/storage"
)

// The progress of a transfer is storage's; front doors, which see nothing
// below libpod, know it by these names.
type (
	Progress   = storage.Progress
	LayerEvent = storage.LayerEvent
)

// The states of a LayerEvent that displays tell apart.
const (
	LayerWaiting     = storage.LayerWaiting
	LayerDownloading = storage.LayerDownloading
	LayerExtracting  = storage.LayerExtracting
	LayerDone        = storage.LayerDone
	LayerExists      = storage.LayerExists
	LayerPushing     = storage.LayerPushing
)

// PlainProgress writes Docker's lines for an output that is no terminal.
func PlainProgress(w io.Writer) Progress { return storage.Plain(w) }
