curl -X POST http://localhost:4001/auth/logout \
-H "Content-Type: application/json" \
-d '{
"refreshToken": "1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d"
}'
