package cloudevents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// documentType is the content type of structured mode.
const documentType = "application/cloudevents+json; charset=utf-8"

// writeDocument makes the document of structured mode the payload of m.
func writeDocument(m *wire.Message, attributes map[string]string) error {
	if m.ContentEncoding != "" {
		return fmt.Errorf("cloudevents: the payload is compressed (%s), for which a document has no attribute", m.ContentEncoding)
	}
	if m.ContentType != "" {
		attributes["datacontenttype"] = m.ContentType
	}
	document, err := json.Marshal(attributes)
	if err != nil {
		return fmt.Errorf("cloudevents: %w", err)
	}
	member, data := "data", m.Payload // as it is: consumers compare payloads byte by byte
	switch isJSON := wire.IsJSON(m.ContentType); {
	case isJSON && json.Valid(data):
	case !isJSON && strings.HasPrefix(m.ContentType, "text/") && utf8.Valid(data):
		data, err = json.Marshal(string(data))
	default:
		member = "data_base64"
		data, err = json.Marshal(data)
	}
	if err != nil {
		return fmt.Errorf("cloudevents: data: %w", err)
	}
	if len(m.Payload) > 0 {
		document = slices.Concat(document[:len(document)-1], []byte(`,"`+member+`":`), data, []byte("}"))
	}
	m.Payload, m.ContentType = document, documentType
	return nil
}

// readDocument makes the data of a document the payload of m, and returns the
// attributes.
func readDocument(m *wire.Message) (attributes map[string]string, err error) {
	var document map[string]json.RawMessage
	if err := json.Unmarshal(m.Payload, &document); err != nil {
		if m.ContentEncoding != "" {
			err = fmt.Errorf("the document is compressed (%s), decompress it first: %w", m.ContentEncoding, err)
		}
		return nil, err
	}
	attributes = make(map[string]string, len(document))
	for name, raw := range document {
		switch name {
		case "data", "data_base64":
			continue
		}
		text, err := attributeText(raw)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		if text != "" {
			attributes[name] = text
		}
	}
	m.ContentType = attributes["datacontenttype"]
	if m.ContentType == "" {
		m.ContentType = wire.DefaultContentType
	}
	m.Payload, err = documentData(document["data"], document["data_base64"], m.ContentType)
	return attributes, err
}

// attributeText returns the value of an attribute: a string, boolean or
// integer; "" for null.
func attributeText(raw json.RawMessage) (string, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return "", err
	}
	switch value := value.(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case bool, json.Number:
		return fmt.Sprint(value), nil
	}
	return "", errors.New("is neither string, boolean nor number")
}

// documentData returns the payload of a document.
func documentData(data, base64 json.RawMessage, contentType string) ([]byte, error) {
	switch {
	case data != nil && base64 != nil:
		return nil, errors.New("the document has both data and data_base64")
	case base64 != nil:
		var payload []byte
		if err := json.Unmarshal(base64, &payload); err != nil {
			return nil, fmt.Errorf("data_base64: %w", err)
		}
		return payload, nil
	case data == nil:
		return []byte{}, nil
	case !wire.IsJSON(contentType):
		var text string
		if json.Unmarshal(data, &text) == nil {
			return []byte(text), nil
		}
	}
	return data, nil
}

// mediaTypeOf returns a content type without its parameters, in lower case.
func mediaTypeOf(contentType string) string {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return mediaType
}
