(module
  (type (func (result i32)))
  (type (func (param i32) (result i32)))
  (import "env" "proxy_log" (func (; 0 ;) (; proxy_log ;) (type 1)))
  (func (; 1 ;) (type 0)
    i32.const 1
    call 0)
  (func (; 2 ;) (type 0)
    i32.const 2
    i32.const 0
    call_indirect 0 (type 1))
  (func (; 3 ;) (type 0)
    ref.func 0
    ref.is_null)
  (table 1 funcref)
  (export "direct" (func 1))
  (export "log" (func 0))
  (export "reference" (func 3))
  (export "through_table" (func 2))
  (elem (table 0) (i32.const 0) funcref (ref.func 0))
  (elem declare funcref (ref.func 0))
)
