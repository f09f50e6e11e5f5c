package payment

import "baedal/domain"

// What the messages about money are called.

// CheckName says what is wrong with the request's id: it is ORDERID/TYPE/ATTEMPT.
func (r *Request) CheckName() error { return domain.CheckName(r.ID, r.OrderID, r.Type, r.Attempt) }

// CheckName says what is wrong with the reply's id: it is ORDERID/TYPE/ATTEMPT,
// and of a delay the try that failed comes last.
func (r *Reply) CheckName() error {
	if r.Type == Delayed {
		return domain.CheckName(r.ID, r.OrderID, r.Type, r.Attempt, domain.AnyNumber)
	}
	return domain.CheckName(r.ID, r.OrderID, r.Type, r.Attempt)
}

// CheckName says what is wrong with the result's id: it is the call's key, its
// try and what it is.
func (r *Result) CheckName() error {
	return domain.CheckName(r.ID, r.OrderID, r.Call.Kind, r.Attempt, r.Try, ResultType)
}
