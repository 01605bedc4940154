package wire

import (
	"mime"
	"strings"
)

// Encoder changes messages to the format of another ecosystem before they
// travel, such as an envelope around the payload. Packages nestjs and
// cloudevents have some.
//
// An Encoder with a method Validate() error is validated when a publisher is
// made of it.
type Encoder interface {
	// Encode changes m, whose Headers are a map of its own, empty at least. The
	// payload is replaced, never written to. The id stays as it is: consumers
	// recognise copies by it. The contract's headers are made of what Encode
	// leaves in m. It is called by several goroutines.
	//
	// An error says that this message can never be encoded.
	Encode(m *Message) error
}

// Decoder changes messages of a format into what handlers expect; it is the
// other direction of an Encoder.
type Decoder interface {
	// Decode completes m, as it was read from properties and headers. It leaves
	// alone what is not of its format, and gives all copies of an event the same
	// id. Headers may be nil; the payload is replaced, never written to. It is
	// called by several goroutines.
	//
	// An error says that m is of this format, but cannot be read.
	Decode(m *Message) error
}

// IsJSON reports whether contentType is application/json, or has the suffix
// +json. Parameters do not matter.
func IsJSON(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}
