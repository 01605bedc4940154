// Package money holds amounts exactly: integer cents inside, a JSON number
// with at most two decimals outside, never a float in between.
package money

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Amount is a sum of money in cents. A database column of an integer type
// takes and gives it as it is.
type Amount int64

// Max is the largest amount that is taken: one thousand million.
const Max Amount = 1_000_000_000_00

// What is wrong with an amount. The texts are made to follow the name of a field.
var (
	ErrNotANumber      = errors.New("must be a number, such as 77.5")
	ErrTooManyDecimals = errors.New("must have at most two decimals")
	ErrTooLarge        = fmt.Errorf("must be at most %s", Max)
	ErrNotPositive     = errors.New("must be greater than zero")
)

// number is the grammar of RFC 8259, section 6: sign, whole part, fraction, exponent.
var number = regexp.MustCompile(`^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$`)

// maxText bounds the work done on a hostile number.
const maxText = 64

// Parse reads a JSON number, such as 77.5, 12 or 7.75e1, without rounding. It
// answers one of the errors of this package: an amount of money is a positive
// number of cents up to Max.
func Parse(text string) (Amount, error) {
	if len(text) > maxText {
		return 0, ErrNotANumber
	}
	part := number.FindStringSubmatch(text)
	if part == nil {
		return 0, ErrNotANumber
	}
	sign, whole, fraction := part[1], part[2], part[3]
	digits := strings.TrimLeft(whole+fraction, "0")
	significant := strings.TrimRight(digits, "0")
	if significant == "" || sign == "-" {
		return 0, ErrNotPositive
	}
	// The value is significant x 10^shift cents.
	shift := len(digits) - len(significant) - len(fraction) + 2
	if part[4] != "" {
		exponent, err := strconv.Atoi(part[4])
		if err != nil || exponent > 1000 || exponent < -1000 {
			return 0, ErrNotANumber
		}
		shift += exponent
	}
	if shift < 0 {
		return 0, ErrTooManyDecimals
	}
	if len(significant)+shift > len(strconv.FormatInt(int64(Max), 10)) {
		return 0, ErrTooLarge
	}
	cents, err := strconv.ParseInt(significant+strings.Repeat("0", shift), 10, 64)
	if err != nil {
		return 0, ErrNotANumber
	}
	if Amount(cents) > Max {
		return 0, ErrTooLarge
	}
	return Amount(cents), nil
}

// String returns the shortest decimal text: 77.5, 12, 0.05.
func (a Amount) String() string {
	sign, cents := "", uint64(a)
	if a < 0 {
		sign, cents = "-", -cents
	}
	text := fmt.Sprintf("%s%d.%02d", sign, cents/100, cents%100)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// MarshalJSON writes the amount as a JSON number.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalJSON reads what Parse reads; text in quotes and null are no numbers.
func (a *Amount) UnmarshalJSON(data []byte) error {
	parsed, err := Parse(string(data))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}
