(module
  (type (func))
  (type (func (result i32)))
  (type (func (param i64) (result i32)))
  (func (; 0 ;) (; f ;) (type 2)
    i32.const 1)
  (func (; 1 ;) (; g ;) (type 0))
  (func (; 2 ;) (type 1)
    ref.func 0
    ref.is_null
    ref.func 1
    ref.is_null
    i32.add)
  (export "main" (func 2))
  (elem declare funcref (ref.func 0) (ref.func 1))
)
