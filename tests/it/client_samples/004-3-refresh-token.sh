curl -X POST http://localhost:4001/auth/refresh-token \
-H "Content-Type: application/json" \
-d '{
"refreshToken": "9b2c8f4a-3d5e-6f7a-8b9c-0d1e2f3a4b5c"
}'
